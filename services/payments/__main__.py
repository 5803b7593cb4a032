"""`python -m services.payments [migrate]`"""

from services.chassis.service import main
from services.payments.service import SERVICE

main(SERVICE)
