"""The four services of Mercer and the chassis that they share. No service imports another."""
