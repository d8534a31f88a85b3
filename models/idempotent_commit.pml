/* A request that is sent again until it is answered, and takes effect once (IDEM-1). Two clients
 * use the same key, for different requests; calls time out, answers are lost, old calls go on
 * beside new ones, and the store crashes between any two steps. tools/check_models.py checks it.
 *
 * Broken variants, each of which must fail:
 *   KEY_OUTSIDE      the key is stored in a commit of its own, after the effect
 *   CHECK_OUTSIDE    whether the key is there is looked up before the commit
 *   ACK_BEFORE_SYNC  the answer does not wait for the disk
 *   NO_REPLAY        what was done before is not answered
 */
#define CLIENTS 2
#define CONNECTIONS 2 /* of each client */
#define CRASHES 1
#define LOSSES 2

#define kNone 0
#define kDone 1
#define kMismatch 2

typedef Kept {
  byte key;              /* whose request it stands for, from 1; 0: not stored */
  byte effects[CLIENTS]
}
Kept memory;
Kept disk;
byte epoch;
byte answer[CLIENTS];
byte lost; /* answers */

inline Sync() {
  disk.key = memory.key;
  disk.effects[0] = memory.effects[0];
  disk.effects[1] = memory.effects[1];
  assert(disk.effects[0] + disk.effects[1] <= 1) /* never twice, and never both */
}

/* The answer, unless the connection is gone: then the client does not know what came of it. */
inline Answer() {
  atomic {
    if
    :: said == kNone
    :: said != kNone -> answer[client] = said
    :: said != kNone && lost < LOSSES -> lost++
    fi
  };
}

/* A client sends its request again and again until it is answered, over connections that know
 * nothing of each other. */
proctype Connection(byte client) {
  byte since, said, found;
again:
  if
  :: answer[client] != kNone -> goto over
  :: else
  fi;
#ifdef CHECK_OUTSIDE
  found = memory.key;
#endif
  atomic {
    since = epoch;
#ifndef CHECK_OUTSIDE
    found = memory.key;
#endif
    if
    :: found == 0 ->
       memory.effects[client]++;
#ifndef KEY_OUTSIDE
       memory.key = client + 1;
#endif
       said = kDone
#ifdef NO_REPLAY
    :: found == client + 1 -> said = kNone
#else
    :: found == client + 1 -> said = kDone
#endif
    :: else -> said = kMismatch
    fi
  };
#ifdef ACK_BEFORE_SYNC
  Answer();
#endif
  /* What is replayed waits for the disk, too: what it repeats may not be durable yet. */
  atomic {
    if
    :: epoch == since -> Sync()
    :: else -> said = kNone /* it died with the process */
    fi
  };
#ifdef KEY_OUTSIDE
  atomic {
    if
    :: epoch == since && found == 0 -> memory.key = client + 1; Sync()
    :: else
    fi
  };
#endif
#ifndef ACK_BEFORE_SYNC
  Answer();
#endif
  goto again;
over:
  assert(answer[client] == kMismatch || disk.effects[client] == 1);
  assert(answer[client] == kDone || disk.effects[client] == 0)
}

active proctype Crash() {
  byte crashes;
end:
  do
  :: atomic {
       crashes < CRASHES ->
       crashes++;
       epoch++;
       memory.key = disk.key;
       memory.effects[0] = disk.effects[0];
       memory.effects[1] = disk.effects[1]
     }
  od
}

init {
  byte i;
  atomic {
    for (i : 0 .. CLIENTS * CONNECTIONS - 1) {
      run Connection(i / CONNECTIONS)
    }
  }
}

/* What was told to be done stays done, across every crash; what was refused is never done. */
ltl answers_hold {
  [] ((answer[0] == kDone -> disk.effects[0] == 1 && disk.effects[1] == 0) &&
      (answer[0] == kMismatch -> disk.effects[0] == 0 && disk.effects[1] == 1) &&
      (answer[1] == kDone -> disk.effects[1] == 1 && disk.effects[0] == 0))
}

/* Who goes on asking is answered. */
ltl answered { <> (answer[0] != kNone && answer[1] != kNone) }
