"""What the columns and relations of the catalog hold, for the documentation: by `table.column`, or by `column` where it means
the same everywhere in this service. What every service has (ids, times, metadata) is in the chassis."""

GLOSSARY = {}
