import type { Database } from './database.js';
import type { SealStore } from './ports.js';
import { fromLoadedRows, OBJECT_SELECT, VERSION_SELECT } from './rows.js';

const UNSEALED = {
  name: 'unsealed-objects',
  text: `SELECT ${OBJECT_SELECT}, ${VERSION_SELECT}
    FROM object o LEFT JOIN object_usage u ON u.object_id = o.id
      LEFT JOIN object_version v ON v.object_id = o.id AND v.tenant = o.tenant
    WHERE o.id IN (
      (SELECT id FROM object WHERE seal IS NULL ORDER BY id LIMIT $1)
      UNION (SELECT object_id FROM object_version WHERE seal IS NULL ORDER BY object_id LIMIT $1))
    ORDER BY o.id, v.version`,
};
const SEAL_OBJECT = { name: 'seal-object', text: 'UPDATE object SET seal = $3 WHERE id = $1 AND revision = $2' };
const SEAL_VERSION = {
  name: 'seal-version',
  text: 'UPDATE object_version SET seal = $3 WHERE object_id = $1 AND version = $2 AND seal IS NULL',
};

export const makeSealStore = (database: Database): SealStore => ({
  unsealed: async (limit) => fromLoadedRows(await database.read(UNSEALED, [limit])),
  async seal({ object, versions }, seals) {
    for (const [index, version] of versions.entries())
      await database.run(SEAL_VERSION, [object.id, version.version, Buffer.from(seals.versions[index] as Uint8Array)]);
    await database.run(SEAL_OBJECT, [object.id, object.revision, Buffer.from(seals.object)]);
  },
});
