"""One module for each group of figures. A case takes the `Board` and adds what it measured."""
