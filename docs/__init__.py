"""What writes the tables and the pictures of the documents."""
