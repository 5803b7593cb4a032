"""`python -m services.inventory` serves; with `migrate` it brings its database up to date and exits."""

from services.chassis.service import main
from services.inventory.service import SERVICE

main(SERVICE)
