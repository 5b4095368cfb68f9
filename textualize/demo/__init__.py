"""The demo: synthetic clips that ship with the package, how they are made, and the run over them."""
