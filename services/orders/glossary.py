"""What columns and relations hold, for the documentation: by `table.column`, or by `column` where it means the same
throughout the service. Ids, times and metadata are explained by the chassis (schemas.py)."""

from collections.abc import Mapping

GLOSSARY: Mapping[str, str] = {}
