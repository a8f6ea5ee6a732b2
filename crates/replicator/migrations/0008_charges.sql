-- On whose behalf a replica is kept, and what it counts: apart from whose turn it is, since a look
-- for one namespace must cost another one nothing. NULL where nothing was copied yet.
ALTER TABLE replicas ADD COLUMN charged_to TEXT;
ALTER TABLE replicas ADD COLUMN charged_bytes BIGINT;

UPDATE replicas SET charged_to = namespace, charged_bytes = size_bytes WHERE size_bytes IS NOT NULL;

-- What a namespace has in all.
CREATE INDEX replicas_charged ON replicas (charged_to, charged_bytes) WHERE charged_to IS NOT NULL;
