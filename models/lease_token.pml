/* A lock whose lease can end while its holder is paused, and the token that protects what the
 * holder writes (LOCK-3, LOCK-4, LOCK-8). A worker takes the lock, reads a number, writes it back
 * with 1 added, and releases; its lease may end, it may die, and the store may crash, between any
 * two steps. tools/check_models.py checks it.
 *
 * Broken variants, each of which must fail:
 *   NO_GUARD             the write does not check the token
 *   TOKEN_NOT_PERSISTED  the counter of tokens is lost in a crash
 *   TOKEN_BEFORE_SYNC    the grant is told before it is durable
 *   NO_EXPIRY            a lease never ends
 */
#define WORKERS 2
#define TRIES 2
#define CRASHES 1

typedef Kept {
  byte issued; /* the highest token */
  byte held    /* the token of the lease; 0: free */
}
Kept memory;
Kept disk;
byte epoch;
byte told;     /* the highest token that anybody was told of */
byte value;    /* what the lock protects */
byte accepted; /* writes that were acknowledged */
byte newest;   /* the token of the latest of them */
bool has_died;
bool waits; /* worker 1, which never dies */

inline Sync() {
  disk.held = memory.held;
#ifndef TOKEN_NOT_PERSISTED
  disk.issued = memory.issued;
#endif
}

proctype Worker(byte me) {
  byte token, seen, since, before, tries;
again:
  if
  :: tries == TRIES -> goto over
  :: else -> tries++
  fi;
  if
  :: me == 1 -> waits = true
  :: else
  fi;
  /* The lock is granted in memory with the next token, made durable, and then told. */
  atomic {
    memory.held == 0 ->
    memory.issued++;
    token = memory.issued;
    memory.held = token;
    since = epoch;
    before = told
  };
#ifndef TOKEN_BEFORE_SYNC
  atomic {
    if
    :: epoch == since && memory.held == token -> Sync()
    :: else -> token = 0
    fi
  };
  if
  :: token == 0 && me == 1 -> waits = false; goto again
  :: token == 0 && me != 1 -> goto again /* the store has crashed: nothing was granted */
  :: else
  fi;
#endif
  atomic {
    assert(token > before); /* above all that were known when it was asked for */
    if
    :: token > told -> told = token
    :: else
    fi;
    if
    :: me == 1 -> waits = false
    :: else
    fi
  };
#ifdef TOKEN_BEFORE_SYNC
  atomic {
    if
    :: epoch == since && memory.held == token -> Sync()
    :: else
    fi
  };
#endif
  seen = value;
  /* One of them may die here, with the lock in its hands. */
  if
  :: me != 1 && !has_died -> has_died = true; goto over
  :: true
  fi;
  /* The write: its guard is checked in the same commit, which is durable when it is told. */
  atomic {
    if
#ifdef NO_GUARD
    :: true ->
#else
    :: memory.held == token ->
#endif
       value = seen + 1;
       accepted++;
       assert(value == accepted); /* no update is lost */
       assert(token >= newest);   /* nobody writes after his successor */
       newest = token;
       Sync()
    :: else /* fenced */
    fi
  };
  atomic {
    if
    :: memory.held == token -> memory.held = 0; Sync()
    :: else
    fi
  };
  goto again;
over:
  skip
}

#ifndef NO_EXPIRY
/* A lease ends at any time: of a worker that is paused, and of one that is dead. */
active proctype Time() {
end:
  do
  :: atomic { memory.held != 0 && memory.held == disk.held -> memory.held = 0; Sync() }
  od
}
#endif

active proctype Crash() {
  byte crashes;
end:
  do
  :: atomic {
       crashes < CRASHES ->
       crashes++;
       epoch++;
       memory.issued = disk.issued;
       memory.held = disk.held
     }
  od
}

init {
  byte i;
  atomic {
    for (i : 0 .. WORKERS - 1) {
      run Worker(i)
    }
  }
}

/* Whoever waits gets the lock, also from one who died with it, unless the store has crashed. */
ltl never_stuck { [] (waits -> <> !waits) }
