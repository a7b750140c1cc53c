/**
 * What one schedule runs on: the filesystem's own code (metadata, allocator, file data, DAX engine) over a
 * simulated region and MMU, set up as a scenario says, and the model of what its files must hold. It is
 * made once; reset() takes it back to the beginning for the next schedule, which costs as much as the
 * last one changed: the metadata's running transaction never ends, and is rolled back.
 */
import assert from 'node:assert/strict';
import type { BugSwitches } from '../dax/bugs.js';
import { DaxEngine } from '../dax/engine.js';
import { FileData } from '../dax/file_data.js';
import type { Mapping } from '../dax/mmu.js';
import type { Collision } from '../dax/view.js';
import type { Inode } from '../metadata/inode.js';
import { Metadata } from '../metadata/metadata.js';
import type { MetadataRecord } from '../metadata/records.js';
import { Transaction } from '../metadata/transaction.js';
import { Allocator, type AllocateRequest, type PageRun } from '../space/allocator.js';
import { WRITTEN } from '../space/extent_list.js';
import { PAGE_BYTES } from '../units.js';
import { Footprint, fileBit, JOURNAL, SPACE } from './footprint.js';
import { Journal } from './journal.js';
import { mappingsOf } from './mappings.js';
import { ModelFile } from './model.js';
import { SoftwareMmu } from './mmu.js';
import type { Process } from './process.js';
import { PrivateStores } from './private_stores.js';
import { recordText } from './record_text.js';
import { LabRegion } from './region.js';
import { type Invariant, OLD_BYTES, type Op, type Scenario } from './scenario.js';
import { prepareDatabase, regionPages } from './setup.js';
import { Violation } from './violation.js';

export interface LabFile {
  readonly name: string;
  readonly ino: number;
  readonly model: ModelFile;
}

/** A commit is a mark in the log of records; the transaction goes on. */
class EndlessTransaction extends Transaction {
  override commit(): void {
    // What was done stays in the transaction, for rollback() to undo.
  }
}

class LabAllocator extends Allocator {
  footprint: Footprint | undefined;

  override get freePages(): number {
    if (this.footprint !== undefined) this.footprint.reads |= SPACE;
    return super.freePages;
  }

  override allocate(request: AllocateRequest): PageRun | undefined {
    if (this.footprint !== undefined) this.footprint.writes |= SPACE;
    return super.allocate(request);
  }
}

export class World {
  readonly footprint = new Footprint();
  readonly journal = new Journal();
  readonly region: LabRegion;
  readonly metadata: Metadata;
  readonly allocator: LabAllocator;
  readonly files = new Map<string, LabFile>();
  /** By name. */
  readonly mappings: ReadonlyMap<string, Mapping>;
  readonly stored = new PrivateStores();
  /** What the engine counted as collisions, by mapping. */
  readonly counted = new Map<Mapping, Collision>();
  /** Every record since the beginning, and where the commits were. */
  readonly log: (MetadataRecord | 'commit')[] = [];
  fileData!: FileData;
  engine!: DaxEngine;
  mmu!: SoftwareMmu;
  processes!: Map<string, Process>;

  private readonly allocatorBase: Allocator;
  private readonly names: ReadonlyMap<Mapping, string>;
  private committedText = '';

  constructor(
    readonly scenario: Scenario,
    readonly bugs: Readonly<BugSwitches>,
  ) {
    const pageCount = regionPages(scenario);
    const fills = new Map<number, number>();
    for (const { extents = [], fill = 0 } of Object.values(scenario.files)) {
      for (const { regionPage, pageCount: count, state } of extents) {
        if (state !== WRITTEN) continue;
        for (let page = regionPage; page < regionPage + count; page++) fills.set(page, fill);
      }
    }
    const options = {
      fillOf: (page: number) => fills.get(page) ?? OLD_BYTES,
      poisoned: scenario.poisoned ?? [],
      hasCrash: scenario.hasCrash === true,
    };
    this.region = new LabRegion(pageCount, options, this.footprint);
    this.allocator = new LabAllocator(pageCount, bugs);
    const { db, inos } = prepareDatabase(scenario, this.allocator);
    this.allocatorBase = this.allocator.copy();
    this.allocator.footprint = this.footprint;
    const transaction = new EndlessTransaction(db);
    this.metadata = new Metadata(db, { allocator: this.allocator, bugs, transaction });
    for (const [name, file] of Object.entries(scenario.files)) {
      const { pages, extents = [], fill = 0 } = file;
      const initial = (page: number) =>
        extents.some(
          (extent) =>
            extent.state === WRITTEN &&
            extent.filePage <= page &&
            page < extent.filePage + extent.pageCount,
        )
          ? fill
          : 0;
      this.files.set(name, {
        name,
        ino: inos.get(name)!,
        model: new ModelFile(pages, initial, fill),
      });
    }
    this.mappings = mappingsOf(scenario, (file) => this.file(file).ino);
    this.names = new Map([...this.mappings].map(([name, mapping]) => [mapping, name]));
    this.reset();
  }

  /** As it was after the constructor. */
  reset(): void {
    this.region.reset();
    this.metadata.rollback();
    this.metadata.afterCommit.length = 0;
    const { footprint } = this.allocator;
    Object.assign(this.allocator, this.allocatorBase.copy(), { footprint });
    this.log.length = 0;
    this.metadata.sink = (record) => this.record(record);
    const { region, metadata, allocator, bugs } = this;
    this.fileData = new FileData({
      region,
      metadata,
      allocator,
      bugs,
      commit: () => this.commit(),
    });
    this.mmu = new SoftwareMmu(region, this.footprint, this.journal, (mapping) =>
      this.nameOf(mapping),
    );
    this.engine = new DaxEngine({
      region,
      metadata,
      allocator,
      fileData: this.fileData,
      mmu: this.mmu,
      bugs,
      aheadPagesMax: this.scenario.aheadPagesMax ?? 1,
      force: () => this.commit(),
      endOperation: () => this.endOperation(),
      collided: (mapping, _range, collision) => this.counted.set(mapping, collision),
      touched: (inode) => this.touch(inode),
    });
    this.metadata.onDirty = () => this.engine.unsettle();
    for (const { model } of this.files.values()) model.reset();
    this.stored.reset();
    this.counted.clear();
    this.followWords();
    this.startProcesses();
    this.committedText = this.mapsText();
    this.footprint.clear();
    this.journal.take();
  }

  /** Fences and commits, as whoever serves a sync. */
  commit(): void {
    this.region.fence();
    this.endOperation();
    if (!this.metadata.dirty) return;
    this.footprint.writes |= JOURNAL | SPACE;
    for (const { ino } of this.files.values()) this.footprint.writes |= fileBit(ino);
    const count = this.pendingOperations().length;
    this.metadata.commit();
    this.log.push('commit');
    this.region.forgetOperations();
    for (const { model } of this.files.values()) model.commit();
    if (this.scenario.hasCrash === true) this.committedText = this.mapsText();
    this.journal.note(() => `committed: ${count} operation${count === 1 ? '' : 's'}`);
  }

  /** Of whoever changed something last: also where that was somebody else, or nobody. */
  endOperation(): void {
    this.footprint.reads |= JOURNAL;
    this.metadata.endOperation();
  }

  /** An invariant broke, if it is watched. @throws {Violation} */
  fail(invariant: Invariant, message: string): void {
    const { watch } = this.scenario;
    if (watch === undefined || watch.includes(invariant)) throw new Violation(invariant, message);
  }

  inode(file: LabFile): Inode {
    return this.metadata.existingInode(file.ino);
  }

  file(name: string): LabFile {
    const file = this.files.get(name);
    assert(file !== undefined, `no file ${name}`);
    return file;
  }

  mapping(name: string): Mapping {
    const mapping = this.mappings.get(name);
    assert(mapping !== undefined, `no mapping ${name}`);
    return mapping;
  }

  nameOf(mapping: Mapping): string {
    return this.names.get(mapping)!;
  }

  fileOf(mapping: Mapping): LabFile {
    for (const file of this.files.values()) if (file.ino === mapping.ino) return file;
    assert.fail();
  }

  /** Operations of the running transaction, whole ones. */
  pendingOperations(): MetadataRecord[][] {
    const operations: MetadataRecord[][] = [];
    let records: MetadataRecord[] = [];
    for (let at = this.log.lastIndexOf('commit') + 1; at < this.log.length; at++) {
      const record = this.log[at] as MetadataRecord;
      if (record.type !== 'end-operation') records.push(record);
      else {
        operations.push(records);
        records = [];
      }
    }
    return operations;
  }

  /** Everything that tasks share and, with `hasCrash`, all that a power cut would find. */
  text(): string {
    const parts = [this.engine.text(), this.mapsText(), this.allocator.text(), this.mmu.text()];
    parts.push(this.region.text());
    for (const { ino, model } of this.files.values()) {
      const inode = this.metadata.existingInode(ino);
      const settled = this.metadata.isSettled(inode) ? 'settled' : 'unsettled';
      parts.push(model.text(), settled, String(inode.mtimeSec));
    }
    if (this.metadata.dirty) parts.push('dirty');
    for (const [mapping, collision] of this.counted) parts.push(this.nameOf(mapping), collision);
    if (this.scenario.hasCrash === true) parts.push(this.durableText());
    return parts.join('\n');
  }

  /** What a power cut would find of the metadata. */
  durableText(): string {
    const records = this.log.slice(this.log.lastIndexOf('commit') + 1);
    return `${this.committedText} then ${JSON.stringify(records)} ${this.region.marksText()}`;
  }

  /** Maps and sizes of all files, for a person and for comparing. */
  mapsText(): string {
    const parts: string[] = [];
    for (const { name, ino } of this.files.values()) {
      const inode = this.metadata.existingInode(ino);
      const extents = [...this.metadata.extents(inode)].map(
        ({ filePage, regionPage, pageCount, state }) =>
          `${filePage}+${pageCount}@${regionPage}${state === WRITTEN ? '' : 'u'}`,
      );
      parts.push(`${name} ${inode.sizeBytes / PAGE_BYTES}: ${extents.join(' ')}`);
    }
    return parts.join('; ');
  }

  private record(record: MetadataRecord): void {
    this.footprint.writes |= JOURNAL;
    if (record.type === 'map' || record.type === 'unmap') this.footprint.writes |= SPACE;
    if ('ino' in record) this.footprint.writes |= fileBit(record.ino);
    this.log.push(record);
    if (record.type === 'end-operation' && this.scenario.hasCrash === true) {
      this.region.markOperation();
    }
    this.journal.note(() => recordText(record));
  }

  private touch(inode: Inode): void {
    if (inode.mtimeSec === 0) this.metadata.updateInode(inode, { mtimeSec: 1 });
  }

  private startProcesses(): void {
    const { processes, threads } = this.scenario;
    this.processes = new Map();
    for (const [name, maps] of Object.entries(processes)) {
      const cpus = threads.flatMap((thread, cpu) => (thread.process === name ? [cpu] : []));
      const process = this.mmu.addProcess(name, cpus);
      this.processes.set(name, process);
      for (const map of Object.keys(maps)) {
        const mapping = this.mappings.get(map)!;
        this.mmu.addMapping(process, mapping);
        this.engine.attach(mapping);
      }
    }
  }

  /** The words that scripts name, and those that collapse and insert may bring to their places. */
  private followWords(): void {
    const ops = this.scenario.threads.flatMap(({ script }) => script);
    for (const op of ops) {
      if (!('word' in op)) continue;
      const mapping = 'map' in op ? this.mappings.get(op.map) : undefined;
      const file = 'file' in op ? this.files.get(op.file)! : this.fileOf(mapping!);
      const isPrivateStore = op.op === 'store' && mapping?.isShared === false;
      if (isPrivateStore) continue;
      file.model.follow(op.page, op.word, sourcesOf(op.page, file.name, ops));
    }
  }
}

/** The pages that moves may bring to the place of a page, each made once in whatever order. */
function sourcesOf(page: number, file: string, ops: readonly Op[]): Set<number> {
  const ofFile = ops.flatMap((op) => {
    return (op.op === 'collapse' || op.op === 'insert') && op.file === file ? [op] : [];
  });
  let sources = new Set([page]);
  for (const _ of ofFile) {
    const before = [...sources].flatMap((source) =>
      ofFile
        .filter((op) => source >= op.page)
        .map((op) => source + (op.op === 'collapse' ? op.pageCount : -op.pageCount)),
    );
    sources = new Set([...sources, ...before.filter((source) => source >= 0)]);
  }
  return sources;
}
