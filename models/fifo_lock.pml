/* An exclusive lock with a line of waiters, who give up, die, or are told in the instant in which
 * they give up (LOCK-2, LOCK-5). Every step of the store is one commit. tools/check_models.py
 * checks it.
 *
 * Broken variants, each of which must fail:
 *   OVERTAKE      a release wakes the first in line, and leaves it to him to take the lock
 *   NO_RECHECK    the lock is handed to a waiter who is known to be gone
 *   BLIND_LEAVE   who gives up does not look whether the lock was granted meanwhile
 *   LOST_WAKE_UP  who waits can be told only once he has begun to wait
 *   DEAD_HOLDER   the lease of a holder who died does not end
 */
#define CLIENTS 3
#define ROUNDS 2
#define NOBODY 255

byte holder = NOBODY;
byte line[CLIENTS];
byte length;
bool registered[CLIENTS]; /* grants can be told to it */
bool told[CLIENTS];
bool dead[CLIENTS];
bool gone[CLIENTS]; /* dead for so long that the store knows */
byte inside;
bool has_died;
bool waits0; /* client 0: it neither dies nor gives up */
bool has0;
byte i, j;

/* Takes the place at `i` out of the line. */
inline RemoveAt() {
  length--;
  for (j : i .. CLIENTS - 2) {
    line[j] = line[j + 1]
  }
  line[CLIENTS - 1] = 0;
  i = 0;
  j = 0
}

/* In the commit that frees the lock: the first in line gets it who is not known to be gone. */
inline HandOver() {
  holder = NOBODY;
#ifdef OVERTAKE
  if
  :: length > 0 -> told[line[0]] = true
  :: else
  fi
#else
  do
  :: holder == NOBODY && length > 0 ->
     holder = line[0];
     i = 0;
     RemoveAt();
#ifndef NO_RECHECK
     if
     :: gone[holder] -> holder = NOBODY
     :: else
     fi
#endif
  :: else -> break
  od;
  if
  :: holder != NOBODY ->
     assert(!gone[holder]); /* a grant that nobody can take delays all others */
     told[holder] = registered[holder]
  :: else
  fi
#endif
}

proctype Client(byte me) {
  byte rounds;
again:
  if
  :: rounds == ROUNDS -> goto over
  :: else -> rounds++
  fi;
#ifndef LOST_WAKE_UP
  registered[me] = true;
#endif
  atomic {
    if
    :: holder == NOBODY ->
       assert(length == 0); /* nobody overtakes */
       holder = me;
       told[me] = true
    :: else ->
       line[length] = me;
       length++
    fi;
    if
    :: me == 0 -> waits0 = true
    :: else
    fi
  };
#ifdef LOST_WAKE_UP
  registered[me] = true;
#endif
  if
  :: atomic {
       told[me] -> told[me] = false;
#ifdef OVERTAKE
       if
       :: holder != me -> holder = me; RemoveAt()
       :: else
       fi
#endif
     }
  :: me != 0 -> goto leave
  :: atomic { me != 0 && !has_died -> has_died = true; dead[me] = true }; goto over
  fi;
  atomic {
    inside++;
    assert(inside == 1 && holder == me);
    if
    :: me == 0 -> has0 = true; waits0 = false
    :: else
    fi
  };
  if
  :: atomic { me != 0 && !has_died -> has_died = true; dead[me] = true; inside-- }; goto over
  :: true
  fi;
release:
  atomic {
    if
    :: inside > 0 && holder == me -> inside--
    :: else
    fi;
    registered[me] = false;
    told[me] = false;
    HandOver();
    has0 = has0 && me != 0
  };
  goto again;
leave:
  /* Giving up is a commit: it comes before the grant or after it, never both. */
  atomic {
    i = 0;
    do
    :: i < length && line[i] != me -> i++
    :: else -> break
    od;
    if
    :: i < length -> RemoveAt(); registered[me] = false
    :: else -> i = 0
    fi
  };
#ifndef BLIND_LEAVE
  if
  :: holder == me -> goto release /* the grant came first: it is given back */
  :: else
  fi;
#endif
  atomic {
    registered[me] = false;
    told[me] = false;
    assert(holder != me) /* who has gone away has nothing */
  };
  goto again;
over:
  skip
}

/* What the store learns of the dead: in time that their session is over, or that their lease is. */
proctype Time(byte who) {
end:
  do
  :: atomic { dead[who] && !gone[who] && holder != who -> gone[who] = true }
#ifndef DEAD_HOLDER
  :: atomic { dead[who] && holder == who -> gone[who] = true; HandOver() }
#endif
  od
}

init {
  byte k;
  atomic {
    for (k : 0 .. CLIENTS - 1) {
      run Client(k);
      run Time(k)
    }
  }
}

/* Who waits gets the lock, whatever becomes of those before it. */
ltl never_stuck { [] (waits0 -> <> has0) }
