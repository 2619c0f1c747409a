"""`python -m envoi` is `envoi`."""

from envoi.cli import main

if __name__ == "__main__":
    main()
