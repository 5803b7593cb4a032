"""Batch jobs: files of products, prices and orders, imported and exported beside the requests."""

from services.catalog.batch import jobs

OPERATIONS = [
    *jobs.OPERATIONS,
]
LISTENERS = {
    **jobs.LISTENERS,
}
