#include "store/made_up_name.h"

#include <fmt/format.h>
#include <unistd.h>

#include <climits>

#include "holdfast/time.h"

namespace holdfast::store {

std::string MadeUpName(char separator) {
  char host[HOST_NAME_MAX + 1] = {};
  if (gethostname(host, sizeof host - 1) != 0 || host[0] == '\0') host[0] = '?';
  return fmt::format("{}{}{}{}{:012x}", host, separator, getpid(), separator,
                     Random::System().Next() >> 16);
}

}  // namespace holdfast::store
