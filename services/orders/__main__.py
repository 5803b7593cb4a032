"""`python -m services.orders` serves; with `migrate` it brings its database up to date and exits."""

from services.chassis.service import main
from services.orders.service import SERVICE

main(SERVICE)
