#include "testing/pooler.h"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "base/check.h"
#include "testing/wait_for_stop.h"

namespace holdfast::testing {
namespace {

// Of a socket in a folder of its own nobody else has the port.
constexpr int kPort = 6432;

// Enough for the tests of one process that hold the most at a time.
constexpr int kSharedConnections = 24;

}  // namespace

Pooler::Pooler(const PrivatePostgres& server, int connections, std::optional<std::uint16_t> port) {
  HF_CHECK(::chmod(dir_.path().c_str(), 0777) == 0);  // it does not run as root
  std::ofstream config(dir_.File("pooler.ini"));
  config << fmt::format(
      "[databases]\n* = host={} port={} user=holdfast\n"
      "[pgbouncer]\nlisten_addr =\nlisten_port = {}\nunix_socket_dir = {}\n"
      "unix_socket_mode = 0777\nauth_type = any\npool_mode = transaction\n"
      "default_pool_size = {}\nmax_client_conn = 2000\n"
      // Fresh sessions all the time: what a client has set in one is not there in the next.
      "server_lifetime = 1\n",
      port ? "127.0.0.1" : server.socket_directory(), port.value_or(server.port()), kPort,
      dir_.path().string(), connections);
  config.close();
  guard_.emplace("/usr/sbin/pgbouncer -q \"$1\" & read -r _; kill -KILL $!",
                 std::vector<std::string>{dir_.File("pooler.ini")}, dir_.File("pooler.log"));
  // The socket is there a moment before anybody listens on it.
  const std::string place = fmt::format("host={} port={}", dir_.path().string(), kPort);
  HF_CHECK(WaitUntilTrue([&] { return PQping(place.c_str()) != PQPING_NO_RESPONSE; }));
}

const Pooler& Pooler::Shared() {
  static const Pooler shared(PrivatePostgres::Shared(), kSharedConnections);
  return shared;
}

std::string Pooler::Url(const std::string& schema) const {
  std::string host;
  for (char c : dir_.path().string()) host += c == '/' ? "%2F" : std::string(1, c);
  return fmt::format("postgres://holdfast@{}:{}/postgres?schema={}&prepare=off&notify=off", host,
                     kPort, schema);
}

bool IsThroughPooler() {
  const char* text = std::getenv("HOLDFAST_POSTGRES_POOLER");
  return text != nullptr && std::string(text) == "1";
}

}  // namespace holdfast::testing
