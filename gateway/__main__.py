"""`python -m gateway` serves; with `migrate` it brings its database up to date, makes the first user, and exits."""

from gateway.app import main

main()
