"""`python -m services.catalog` serves; with `migrate` it brings the database up to date and exits."""

from services.catalog.service import SERVICE
from services.chassis.service import main

if __name__ == "__main__":
    main(SERVICE)
