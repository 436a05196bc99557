"""Reference statistics by name: which files papers compare with, where they are, what they hold."""
