-- Records below it were given up by an operator; never goes down.
ALTER TABLE partitions ADD COLUMN truncate_before INTEGER NOT NULL DEFAULT 0;
