// Jobs of graphile-worker and pg-boss, from enqueue to completion, each as its manual says is
// fastest. Prints one line of JSON for each: jobs a second pushed one a call, and worked.
//
//     node peers.mjs POSTGRES_URL JOBS CALLERS
import { once } from 'node:events';
import { makeWorkerUtils, run } from 'graphile-worker';
import PgBoss from 'pg-boss';

const [url, jobsText, callersText] = process.argv.slice(2);
const jobs = Number(jobsText);
const callers = Number(callersText);
const payload = { x: 'x'.repeat(242) };

async function secondsOf(work) {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

/** Calls `call` so many times, from `callers` at once. */
async function callAll(count, call) {
  let left = count;
  const caller = async () => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

function report(name, pushed, worked) {
  console.log(JSON.stringify({
    name,
    pushed_per_second: jobs / pushed,
    worked_per_second: jobs / worked,
    life_cycles_per_second: jobs / (pushed + worked),
  }));
}

async function measureGraphileWorker() {
  const options = { connectionString: url, maxPoolSize: 20, noHandleSignals: true };
  const utils = await makeWorkerUtils(options);
  await utils.migrate();
  const pushed = await secondsOf(() => callAll(jobs, () => utils.addJob('peer', payload)));
  let done = 0;
  const worked = await secondsOf(async () => {
    let finish;
    const finished = new Promise((resolve) => { finish = resolve; });
    const runner = await run({
      ...options,
      preset: {
        worker: {
          concurrentJobs: callers,
          localQueue: { size: 500 },
          completeJobBatchDelay: 0,
          failJobBatchDelay: 0,
        },
      },
      taskList: { peer: () => { if (++done === jobs) finish(); } },
    });
    await finished;
    await runner.stop();  // with what is still to be completed
  });
  await utils.release();
  report('graphile-worker', pushed, worked);
}

async function measurePgBoss() {
  const boss = new PgBoss({ connectionString: url, max: 10, supervise: false, schedule: false });
  boss.on('error', (error) => { throw error; });
  await boss.start();
  await boss.createQueue('peer');
  const pushed = await secondsOf(() => callAll(jobs, () => boss.send('peer', payload)));
  const worked = await secondsOf(() => Promise.all(Array.from({ length: 4 }, async () => {
    while (true) {
      const some = await boss.fetch('peer', { batchSize: 100 });
      if (some.length === 0) return;
      await boss.complete('peer', some.map((job) => job.id));
    }
  })));
  const stopped = once(boss, 'stopped');
  await boss.stop({ graceful: false });
  await stopped;
  report('pg-boss', pushed, worked);
}

await measureGraphileWorker();
await measurePgBoss();
process.exit(0);
