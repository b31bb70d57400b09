"""`python -m quintet.cli`, where the script is not on the path."""

from quintet.cli import main

main()
