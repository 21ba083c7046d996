"""The page that opens the models: its files, its server, and itself in Chromium."""
