"""`python -m services.payments` serves; with `migrate` it brings its database up to date and exits."""

from services.chassis.service import main
from services.payments.service import SERVICE

main(SERVICE)
