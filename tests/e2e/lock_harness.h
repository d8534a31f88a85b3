// What the tests of `holdfast lock` share: every one runs on a file and against a server.
#pragma once

#include <gmock/gmock.h>

#include <memory>

#include "e2e/harness.h"

namespace holdfast::e2e {

/// "sqlite" or "server".
class LockCliTest : public CliTest, public ::testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    if (!is_served()) return;
    server_ =
        std::make_unique<Process>(Command({"serve", "--listen", "127.0.0.1:0", "--lock-preset",
                                           "TINY=700ms/1s", "--log-level", "error"}));
    set_store(server_->LineAfter("listening on "));
  }
  bool is_served() const { return GetParam() == "server"; }

  /// The token.
  std::string Acquire(const std::string& name, std::vector<std::string> options = {}) {
    std::vector<std::string> arguments = {"lock", "acquire", name, "--ttl", "10m"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    return Field("/token", arguments);
  }
  std::string Shown(const std::string& name, const std::string& pointer) {
    return Field(pointer, {"lock", "show", name});
  }
  bool IsFree(const std::string& name) { return Shown(name, "/holders") == "[]"; }
  /// Waits until so many wait for it.
  bool WaitersAre(const std::string& name, std::size_t count) {
    return Eventually([&] {
      return Json(Done({"lock", "show", name}).out).SizeOf("/waiters") == count;
    });
  }

  std::unique_ptr<Process> server_;
};

inline std::string NameOfStore(const ::testing::TestParamInfo<std::string>& info) {
  return info.param;
}

}  // namespace holdfast::e2e
