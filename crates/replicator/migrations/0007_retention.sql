-- How often a replicator wrote down what it had counted: who waits until each has done so a few
-- times knows that all of them have heard what was on disk before, and that what they answered
-- until then is on disk.
ALTER TABLE replicators ADD COLUMN lives BIGINT NOT NULL DEFAULT 0;

-- Repositories at the target from which something is being deleted: nothing is copied there
-- meanwhile. '*' is held by the one replicator that prunes.
CREATE TABLE removals (
    name  TEXT NOT NULL PRIMARY KEY,
    owner TEXT NOT NULL
);

-- Held by claims (shared) and by who begins a removal: of two at the same moment one sees the other.
INSERT INTO moments (name, at_ms) VALUES ('removals', 0);

-- What stands or falls together.
CREATE INDEX replicas_by_digest ON replicas (digest) WHERE digest IS NOT NULL;
