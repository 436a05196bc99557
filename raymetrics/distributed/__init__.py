"""The only folder that knows Ray. Everything that it runs is plain Python from the layers below."""
