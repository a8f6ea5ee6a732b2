-- What a source said of who may read a repository of it. Times are milliseconds since 1970 (UTC).
CREATE TABLE grants (
    source      TEXT   NOT NULL,
    -- Who asked: the name of credentials; empty where there were none.
    identity    TEXT   NOT NULL,
    verdict     TEXT   NOT NULL CHECK (verdict IN ('allowed', 'denied', 'unanswered')),
    -- Why, where it is not 'allowed'.
    reason      TEXT   NOT NULL,
    asked_at_ms BIGINT NOT NULL,
    until_ms    BIGINT NOT NULL,
    PRIMARY KEY (source, identity)
);
CREATE INDEX grants_by_age ON grants (until_ms);
