BEGIN TRANSACTION;
CREATE TABLE about (
	"key" VARCHAR NOT NULL, 
	value VARCHAR NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "about" VALUES('schema','3');
CREATE TABLE collections (
	name VARCHAR NOT NULL, 
	identity JSON NOT NULL, 
	generation INTEGER NOT NULL, 
	created_at FLOAT NOT NULL, 
	folder VARCHAR, 
	PRIMARY KEY (name)
);
INSERT INTO "collections" VALUES('default','{"encoder": "words@1", "dim": 384}',2,1.79531168097909188266e+09,NULL);
CREATE TABLE conversations (
	conversation_id VARCHAR NOT NULL, 
	subject VARCHAR NOT NULL, 
	collection VARCHAR NOT NULL, 
	title VARCHAR NOT NULL, 
	created_at FLOAT NOT NULL, 
	updated_at FLOAT NOT NULL, 
	PRIMARY KEY (conversation_id)
);
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
INSERT INTO "documents" VALUES('default','doc','/in','a.pdf','partial',NULL,'36b5698c31b743a9','{"year": 2024}','["group:finance"]','owner',1.79531168099648141866e+09,1.79531168099648141866e+09);
INSERT INTO "documents" VALUES('default','bad','/in','b.pdf','refused','{"code": "not_a_pdf", "message": "no", "next_step": ""}',NULL,'{}','["user:owner"]','owner',1.79531168100158262249e+09,1.79531168100158262249e+09);
CREATE TABLE exchanges (
	conversation_id VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	question VARCHAR NOT NULL, 
	answer JSON NOT NULL, 
	asked_at FLOAT NOT NULL, 
	PRIMARY KEY (conversation_id, number), 
	FOREIGN KEY(conversation_id) REFERENCES conversations (conversation_id) ON DELETE CASCADE
);
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
INSERT INTO "jobs" VALUES('fbf2c56ee4b64029','ingest','owner','done',1.79531168100493931775e+09,1.79531168100699877734e+09,'{"pages": {"indexed": 2}}');
INSERT INTO "jobs" VALUES('caafe0bf4bde4e85','ingest','owner','running',1.79531168100846099853e+09,NULL,'{}');
CREATE TABLE page_texts (
	version_id VARCHAR NOT NULL, 
	page_number INTEGER NOT NULL, 
	words BLOB NOT NULL, 
	vector_words BLOB, 
	vector_boxes BLOB, 
	hidden BLOB, 
	caption JSON, 
	PRIMARY KEY (version_id, page_number), 
	FOREIGN KEY(version_id) REFERENCES versions (version_id) ON DELETE CASCADE
);
INSERT INTO "page_texts" VALUES('36b5698c31b743a9',1,X'785E136060608856F24B2D51D251502A4ECC492D568A656068B0070A3B0011103700F102203E00C40F8098C11188A14001C8567064640000D3410B1F',X'785E636060606084620000180003',NULL,NULL,NULL);
INSERT INTO "page_texts" VALUES('36b5698c31b743a9',2,X'785E136060608856F24B2D51D251502A4ECC492D568A656068B0070A3B0011103700F102203E00C40F8098C11188A14001C8567064640000D3410B1F',X'785E636060606084620000180003',NULL,NULL,NULL);
INSERT INTO "page_texts" VALUES('36b5698c31b743a9',3,X'785E136060608856F24B2D51D251502A4ECC492D568A656068B0070A3B0011103700F102203E00C40F8098C11188A14001C8567064640000D3410B1F',X'785E636060606084620000180003',NULL,NULL,NULL);
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
	ocr VARCHAR, 
	n_hidden_words INTEGER, 
	PRIMARY KEY (version_id, page_number), 
	FOREIGN KEY(version_id) REFERENCES versions (version_id) ON DELETE CASCADE
);
INSERT INTO "pages" VALUES('36b5698c31b743a9',1,'indexed',0,'',612.0,792.0,'hash 1','bc368c9b-a4a8-56a5-b212-ef541477c5a1',0.0,NULL,NULL);
INSERT INTO "pages" VALUES('36b5698c31b743a9',2,'indexed',0,'',612.0,792.0,'hash 2','13f25e41-6a92-5185-8d6b-e89181c03c27',0.5,NULL,NULL);
INSERT INTO "pages" VALUES('36b5698c31b743a9',3,'failed',0,'render_timeout',612.0,792.0,'hash 3',NULL,0.0,NULL,NULL);
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
INSERT INTO "versions" VALUES('36b5698c31b743a9','default','doc','live','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',3,'/in','a.pdf','{"year": 2024}','["group:finance"]','owner','partial','{"title": "Sales"}',0,1.79531168098513913152e+09);
CREATE INDEX versions_by_bytes ON versions (sha256);
CREATE INDEX versions_by_state ON versions (collection, state);
CREATE INDEX versions_by_document ON versions (collection, document_id);
COMMIT;
