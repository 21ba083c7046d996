"""What tests share: a tiny copy of the project, processes, a browser, a server."""
