-- What a copy saw of an image, and brought to the target.
CREATE TABLE contents (
    source    TEXT NOT NULL PRIMARY KEY,
    -- As in linux/arm64, with commas between them.
    platforms TEXT NOT NULL,
    -- Kinds of referrers with their numbers, as in signature=2,sbom=1; NULL where none was looked for.
    referrers TEXT,
    -- Whether a signature is among them: 0 or 1.
    is_signed BIGINT
);

-- When requests were made that history has let go of, so that first and last stay known.
CREATE TABLE requests_before (
    source      TEXT   NOT NULL PRIMARY KEY,
    first_at_ms BIGINT NOT NULL,
    last_at_ms  BIGINT NOT NULL
);

-- The images of a namespace.
CREATE INDEX requests_by_namespace ON requests (namespace, source);

-- The newest of each state, beside how many there are.
DROP INDEX replicas_states;
CREATE INDEX replicas_states ON replicas (state, changed_at_ms);
