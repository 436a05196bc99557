"""Archives from others: headers can announce any size, and parsers can raise any error."""
