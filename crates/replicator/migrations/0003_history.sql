-- Who asked for what. Times are milliseconds since 1970 (UTC), here and below.
CREATE TABLE requests (
    source      TEXT   NOT NULL,
    namespace   TEXT   NOT NULL,
    caller      TEXT   NOT NULL,
    first_at_ms BIGINT NOT NULL,
    last_at_ms  BIGINT NOT NULL,
    count       BIGINT NOT NULL,
    PRIMARY KEY (source, namespace, caller)
);
CREATE INDEX requests_by_age ON requests (last_at_ms);

-- Each copy that was settled: one row for each claim, so that none counts twice.
CREATE TABLE copies (
    source      TEXT   NOT NULL,
    claim       BIGINT NOT NULL,
    replicator  TEXT   NOT NULL,
    result      TEXT   NOT NULL,
    digest      TEXT,
    bytes_moved BIGINT NOT NULL,
    began_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT NOT NULL,
    PRIMARY KEY (source, claim)
);
CREATE INDEX copies_by_age ON copies (ended_at_ms);

-- Where at a target a blob was last seen, so that it can be mounted instead of sent.
CREATE TABLE blob_places (
    registry   TEXT   NOT NULL,
    digest     TEXT   NOT NULL,
    repository TEXT   NOT NULL,
    seen_at_ms BIGINT NOT NULL,
    PRIMARY KEY (registry, digest)
);
CREATE INDEX blob_places_by_age ON blob_places (seen_at_ms);
