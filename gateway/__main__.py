"""`python -m gateway` serves; with `migrate` it brings its database up to date, makes the first user, and exits."""

from gateway.service import SERVICE
from services.chassis.service import main

main(SERVICE)
