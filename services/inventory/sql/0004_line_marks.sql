-- When what is reserved for a line was last changed by its order: packed, released, handed to another line. Whoever is to
-- reserve for the line asks its order first how much it needs, and sees here that the answer is out of date (line_marks.py).
create table line_marks (
    line_item_id text primary key,
    marked_at timestamptz not null default clock_timestamp()
);
create index line_marks_marked_at on line_marks (marked_at);
