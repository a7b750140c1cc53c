/** The persistence models by name. */
import type { ModelName } from '../choice.js';
import { DAX } from './dax.js';
import type { PersistenceModel } from './persistence.js';

export const MODELS: Readonly<Partial<Record<ModelName, PersistenceModel>>> = { dax: DAX };
