-- With a default: the old release goes on to add notes without an author.
ALTER TABLE note ADD COLUMN author TEXT NOT NULL DEFAULT 'nobody'
