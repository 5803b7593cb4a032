"""`python -m services.inventory [migrate]`"""

from services.chassis.service import main
from services.inventory.service import SERVICE

main(SERVICE)
