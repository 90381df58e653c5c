//! What a cluster, or one of its processes, is told from its next start on.

use super::Cluster;

impl Cluster {
    /// From its next start on it has its metadata there, as it was told to have it elsewhere before.
    ///
    /// # Panics
    /// When it was not told.
    pub fn use_database(&mut self, url: &str) {
        let mut arguments = self.arguments.iter();
        let flag = arguments.position(|argument| argument == "--database-url");
        let flag = flag.expect("it was started with a database");
        url.clone_into(&mut self.arguments[flag + 1]);
    }

    /// Has a unit look at every stored byte within seconds, from its next start by hand on.
    pub fn look_for_rot_often(&mut self, name: &str) {
        let often = ["--scrub-period", "1s", "--scrub-rate", "100MB"];
        let argv = &mut self.member_mut(name).argv;
        argv.extend(often.map(str::to_owned));
    }
}
