"""Customers, their groups, and the notes that staff write about them or anything else."""

from services.orders.customers import customers, groups, notes

OPERATIONS = [
    *customers.OPERATIONS,
    *groups.OPERATIONS,
    *notes.OPERATIONS,
]
