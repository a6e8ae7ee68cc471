"""`python -m gateway` is `truc`."""

from gateway.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
