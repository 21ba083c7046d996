"""A page that opens the exported models in the browser, without a server: their weights, computed in JavaScript."""
