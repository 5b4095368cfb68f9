"""The demo: synthetic clips that ship with the package, how they are made, the run over them."""
