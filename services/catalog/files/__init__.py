"""Files: where they are kept, and how they get in and out."""

from services.catalog.files import uploads

OPERATIONS = [
    *uploads.OPERATIONS,
]
