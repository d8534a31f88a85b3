// No password of a store's URL is shown or handed on, whether the URL can be parsed or not.
#include "base/store_url.h"

#include <gmock/gmock.h>

#include "engine/postgres/connection.h"
#include "engine/postgres/conninfo.h"
#include "testing/matchers.h"

namespace holdfast::base {
namespace {

using ::testing::HasSubstr;
using testing::Must;
using ::testing::Not;
using testing::StatusIs;

TEST(ShownUrl, NamesTheStore) {
  for (auto [url, shown] : {
           std::pair("memory:", "memory:"),
           {"sqlite:/var/lib/a@b=c.db", "sqlite:/var/lib/a@b=c.db"},
           {"jobs.db", "jobs.db"},
           {"redis://localhost", "redis://localhost"},
           {"http://[::1]:8420/", "http://[::1]:8420/"},
           {"postgres://db/app", "postgres://db/app"},
           {"postgres://ada@db:5433/app?schema=mine", "postgres://db:5433/app"},
           {"postgresql://ada:pw@h1:1,[::1]:2/app", "postgresql://h1:1,[::1]:2/app"},
           {"postgres:///app", "postgres:///app"},
           {"postgres://ada:@%2Frun%2Fpostgresql/app", "postgres://%2Frun%2Fpostgresql/app"},
       }) {
    EXPECT_EQ(ShownUrl(url), shown);
  }
}

/// The password is "se...et" in all of them, wherever it stands and whatever else is wrong.
constexpr const char* kSecrets[] = {
    "postgres://ada:secret@db/app",
    "postgres://ada:se/cret@db/app",
    "postgres://ada:se?cret@db/app",
    "postgres://ada:se#cret@db/app",
    "postgres://ada:se@cret@db/app",
    "postgres://ada:se:cret@db/app",
    "postgres://ada:se%cret@db/app",
    "postgres://ada:se%2Fcret@db/app",
    "postgres://ada:se cret@db/app",
    "postgres://ada:secret",
    "postgres://ada:secret/app",
    "postgres://db/app?password=secret",
    "postgres://db/app?password=se@cret",
    "postgres://db/app?sslpassword=secret&sslkey=k",
    "postgres://db/app#password=secret",
    "postgres://db:secret/app",
    "postgress://ada:secret@db/app",
    "postgres:/ada:secret@db/app",
    "postgres:ada:secret",
    "ada:secret@db/app",
    "http://ada:secret@host:8420",
    "http://ada:secret",
    "http://ada:secret@",
    "https://ada:secret@host",
    "host=db user=ada password=secret",
    "host=db password='se\\'cret' user=ada",
    "password = secret",
    "password=secret",
    "\x1b://ada:secret@db",
};

TEST(ShownUrl, HasNoPasswordInIt) {
  for (const char* url : kSecrets) {
    EXPECT_THAT(ShownUrl(url), Not(HasSubstr("cret"))) << url;
    EXPECT_THAT(ShownUrl(url), Not(HasSubstr("se"))) << url;
  }
}

TEST(ShownUrl, IsAllThatErrorsSayOfAUrl) {
  for (const std::string url : kSecrets) {
    if (url.starts_with("postgres://")) continue;  // libpq would look for the host: see below
    Result<std::unique_ptr<Store>> store = OpenStore(url);
    ASSERT_FALSE(store) << url;
    EXPECT_THAT(store.error().message, Not(HasSubstr("cret"))) << url;
  }
}

/// libpq quotes what it does not understand, and takes parts of a password for other things.
TEST(ShownUrl, HidesWhatLibpqWouldQuote) {
  for (const char* url :
       {"postgres://ada:se%cret@127.0.0.1:1/app", "postgres://ada:se/cret@127.0.0.1:1/app",
        "postgres://ada:se@cret@127.0.0.1:1/app", "postgres://ada:se%00cret@127.0.0.1:1/app",
        "postgres://127.0.0.1:1/app?pasword=secret", "postgres://127.0.0.1:secret/app",
        "postgres://ada:secret@127.0.0.1:1/app"}) {
    Result<std::unique_ptr<Store>> store = OpenStore(url);
    ASSERT_FALSE(store) << url;
    EXPECT_THAT(store.error().message, Not(HasSubstr("\"se\""))) << url;
    EXPECT_THAT(store.error().message, Not(HasSubstr("cret"))) << url;
  }
}

TEST(ShownUrl, SecretsAreTakenOutOfWhatServersSay) {
  using engine::postgres::ParseConninfo;
  using engine::postgres::WithoutSecrets;
  auto parts = Must(ParseConninfo("postgres://ada:pass%20word@db/app?sslpassword=other"));
  EXPECT_EQ(WithoutSecrets("ada: pass word, other and pass word", parts), "ada: ***, *** and ***");
  parts = Must(ParseConninfo("postgres://ada:1/ss@db/app"));
  EXPECT_THAT(WithoutSecrets("database \"ss@db/app\" does not exist", parts),
              Not(HasSubstr("ss@")));
  EXPECT_THAT(ParseConninfo("host=db password secret"),
              StatusIs(ErrorCode::kInvalidArgument, Not(HasSubstr("secret"))));
}

TEST(UrlWithoutPassword, LeavesTheRest) {
  for (auto [url, without] : {
           std::pair("sqlite:a:b@c", "sqlite:a:b@c"),
           {"postgres://db/app", "postgres://db/app"},
           {"postgres://ada@db/app?schema=mine", "postgres://ada@db/app?schema=mine"},
           {"postgres://ada:secret@db:1/app?schema=mine", "postgres://ada@db:1/app?schema=mine"},
           {"postgres://ada:s?cret@db/app", "postgres://ada@db/app"},
           {"postgres://db/app?password=secret&lanes=2", "postgres://db/app?lanes=2"},
           {"postgres://db/app?lanes=2&pass%77ord=x&SSLPASSWORD=y", "postgres://db/app?lanes=2"},
           {"http://host:8420/", "http://host:8420/"},
       }) {
    EXPECT_EQ(UrlWithoutPassword(url), without);
  }
}

}  // namespace
}  // namespace holdfast::base
