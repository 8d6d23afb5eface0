"""An example of a package with one noli method."""
