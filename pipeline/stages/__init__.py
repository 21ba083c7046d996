"""The stages of dvc.yaml, one file each. They meet on disk and never import each other."""
