-- What is reserved for a line has a version (line_versions.py), so that whoever reserves for it on the strength of what its
-- order said sees whether that is out of date.
alter table line_marks rename to line_versions;
alter table line_versions rename column marked_at to changed_at;
alter table line_versions rename constraint line_marks_pkey to line_versions_pkey;
alter index line_marks_marked_at rename to line_versions_changed_at;
