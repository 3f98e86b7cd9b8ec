//! The numbers of `errcode`: OpenIM's, as its clients know them. 20xxx are those of its account service.

/// Makes a constant of each, and the list of all with what they mean.
macro_rules! numbers {
    ($($(#[doc = $meaning:literal])+ $name:ident = $number:literal;)+) => {
        $($(#[doc = $meaning])+ pub const $name: u32 = $number;)+

        /// Every number with its meaning, for the document.
        pub const ALL: &[(u32, &str)] = &[$(($number, concat!($($meaning),+))),+];
    };
}

numbers! {
    /// The server failed.
    INTERNAL = 500;
    /// An argument is missing or has the wrong shape.
    ARGUMENT = 1001;
    /// The user may not.
    NO_PERMISSION = 1002;
    /// It is there already.
    DUPLICATE = 1003;
    /// It is not there.
    NOT_FOUND = 1004;
    /// There is no such user.
    USER_NOT_FOUND = 1101;
    /// The account is there already.
    REGISTERED_ALREADY = 1102;
    /// There is no such group.
    GROUP_NOT_FOUND = 1201;
    /// The user is not in the group.
    NOT_IN_GROUP = 1203;
    /// The group was dissolved.
    GROUP_DISMISSED = 1204;
    /// The request to join was answered before.
    GROUP_REQUEST_HANDLED = 1206;
    /// Nobody can be their own friend.
    CANNOT_ADD_SELF = 1301;
    /// The other one has blocked the user.
    BLOCKED_BY_PEER = 1302;
    /// The two are not friends, and must be.
    NOT_FRIENDS = 1303;
    /// The two are friends already.
    FRIENDS_ALREADY = 1304;
    /// The friend request was answered before.
    FRIEND_REQUEST_HANDLED = 1305;
    /// The member is muted.
    MEMBER_MUTED = 1402;
    /// The group is muted.
    GROUP_MUTED = 1403;
    /// The message was withdrawn before.
    WITHDRAWN_ALREADY = 1404;
    /// The token has expired.
    TOKEN_EXPIRED = 1501;
    /// There is no such token.
    TOKEN_UNKNOWN = 1505;
    /// Another login ended the session.
    TOKEN_KICKED = 1506;
    /// There is no token in the request.
    TOKEN_MISSING = 1507;
    /// Too many connections.
    TOO_MANY_CONNECTIONS = 1601;
    /// The password is wrong.
    WRONG_PASSWORD = 20001;
    /// There is no such account.
    ACCOUNT_NOT_FOUND = 20002;
    /// The phone number is another account's.
    PHONE_TAKEN = 20003;
    /// The account name is taken.
    ACCOUNT_TAKEN = 20004;
    /// Requests come too fast.
    TOO_FREQUENT = 20005;
    /// The verification code is wrong.
    CODE_MISMATCH = 20006;
    /// The verification code is too old.
    CODE_EXPIRED = 20007;
    /// The verification code was tried too often.
    CODE_TRIES = 20008;
    /// The verification code was used.
    CODE_USED = 20009;
    /// The invitation code was used up.
    INVITATION_USED = 20010;
    /// There is no such invitation code.
    INVITATION_UNKNOWN = 20011;
    /// The account may not be used.
    FORBIDDEN_ACCOUNT = 20012;
    /// The user takes no friend requests.
    REFUSES_REQUESTS = 20013;
    /// The e-mail address is another account's.
    EMAIL_TAKEN = 20014;
}
