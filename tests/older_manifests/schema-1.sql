BEGIN TRANSACTION;
CREATE TABLE about (
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "about" VALUES('schema','1');
CREATE TABLE collections (
	name VARCHAR NOT NULL, 
	identity JSON NOT NULL, 
	generation INTEGER NOT NULL, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "collections" VALUES('default','{"encoder": "words@1", "dim": 384}',2,1.79531167957962155346e+09);
CREATE TABLE documents (
	collection VARCHAR NOT NULL, 
	document_id VARCHAR NOT NULL, 
	root VARCHAR NOT NULL, 
	source VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	error JSON, 
	live_version_id VARCHAR, 
	metadata JSON NOT NULL, 
	readers JSON NOT NULL, 
	ingested_by VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	updated_at FLOAT NOT NULL, 
	PRIMARY KEY (collection, document_id), 
	FOREIGN KEY(collection) REFERENCES collections (name), 
	FOREIGN KEY(live_version_id) REFERENCES versions (version_id)
);
INSERT INTO "documents" VALUES('default','doc','/in','a.pdf','partial',NULL,'2142fa812ec64dca','{"year": 2024}','["group:finance"]','owner',1.79531167959681916233e+09,1.79531167959681916233e+09);
INSERT INTO "documents" VALUES('default','bad','/in','b.pdf','refused','{"code": "not_a_pdf", "message": "no", "next_step": ""}',NULL,'{}','["user:owner"]','owner',1.79531167960159492493e+09,1.79531167960159492493e+09);
CREATE TABLE jobs (
	job_id VARCHAR NOT NULL, 
	kind VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	started_at FLOAT NOT NULL, 
	finished_at FLOAT, 
	totals JSON NOT NULL, 
	PRIMARY KEY (job_id)
);
INSERT INTO "jobs" VALUES('a02e93e7b5c4469c','ingest','owner','done',1.79531167960508370395e+09,1795311679.60695,'{"pages": {"indexed": 2}}');
INSERT INTO "jobs" VALUES('79af4b1a5f734b5f','ingest','owner','running',1.79531167960844922071e+09,NULL,'{}');
CREATE TABLE page_texts (
	version_id VARCHAR NOT NULL, 
	page_number INTEGER NOT NULL, 
	words BLOB NOT NULL, 
	vector_words BLOB, 
	PRIMARY KEY (version_id, page_number), 
	FOREIGN KEY(version_id) REFERENCES versions (version_id) ON DELETE CASCADE
);
INSERT INTO "page_texts" VALUES('2142fa812ec64dca',1,X'785E136060608856F24B2D51D251502A4ECC492D568A656068B0070A3B0011103700F102203E00C40F8098C11188A14001C8567064640000D3410B1F',X'785E636060606084620000180003');
INSERT INTO "page_texts" VALUES('2142fa812ec64dca',2,X'785E136060608856F24B2D51D251502A4ECC492D568A656068B0070A3B0011103700F102203E00C40F8098C11188A14001C8567064640000D3410B1F',X'785E636060606084620000180003');
INSERT INTO "page_texts" VALUES('2142fa812ec64dca',3,X'785E136060608856F24B2D51D251502A4ECC492D568A656068B0070A3B0011103700F102203E00C40F8098C11188A14001C8567064640000D3410B1F',X'785E636060606084620000180003');
CREATE TABLE pages (
	version_id VARCHAR NOT NULL, 
	page_number INTEGER NOT NULL, 
	state VARCHAR NOT NULL, 
	no_text BOOLEAN NOT NULL, 
	reason VARCHAR NOT NULL, 
	width_pt FLOAT NOT NULL, 
	height_pt FLOAT NOT NULL, 
	content_hash VARCHAR NOT NULL, 
	record_id VARCHAR, 
	prior FLOAT NOT NULL, 
	PRIMARY KEY (version_id, page_number), 
	FOREIGN KEY(version_id) REFERENCES versions (version_id) ON DELETE CASCADE
);
INSERT INTO "pages" VALUES('2142fa812ec64dca',1,'indexed',0,'',612.0,792.0,'hash 1','735b0b3b-4620-5a12-a96a-52874b1f5635',0.0);
INSERT INTO "pages" VALUES('2142fa812ec64dca',2,'indexed',0,'',612.0,792.0,'hash 2','844652c5-6a07-57ff-9f9c-60a8ec8646c7',0.5);
INSERT INTO "pages" VALUES('2142fa812ec64dca',3,'failed',0,'render_timeout',612.0,792.0,'hash 3',NULL,0.0);
CREATE TABLE versions (
	version_id VARCHAR NOT NULL, 
	collection VARCHAR NOT NULL, 
	document_id VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	sha256 VARCHAR NOT NULL, 
	n_pages INTEGER NOT NULL, 
	root VARCHAR NOT NULL, 
	source VARCHAR NOT NULL, 
	metadata JSON NOT NULL, 
	readers JSON NOT NULL, 
	ingested_by VARCHAR NOT NULL, 
	outcome VARCHAR, 
	features JSON, 
	is_repaired BOOLEAN NOT NULL, 
	created_at FLOAT NOT NULL, 
	PRIMARY KEY (version_id), 
	FOREIGN KEY(collection) REFERENCES collections (name)
);
INSERT INTO "versions" VALUES('2142fa812ec64dca','default','doc','live','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',3,'/in','a.pdf','{"year": 2024}','["group:finance"]','owner','partial','{"title": "Sales"}',0,1.79531167958552241321e+09);
CREATE INDEX versions_by_document ON versions (collection, document_id);
CREATE INDEX versions_by_bytes ON versions (sha256);
CREATE INDEX versions_by_state ON versions (collection, state);
COMMIT;
