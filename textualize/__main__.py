"""`python -m textualize` is the command line."""

from textualize.cli import main

main()
